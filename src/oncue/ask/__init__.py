"""Answering one question about a long video: the model asks for the frames it needs
(Video-MTR)."""
