"""Turns into tokens: the only package that knows chat markup, patches and positions. Free of
torch."""
