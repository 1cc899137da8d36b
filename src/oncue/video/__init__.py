"""Video in and out, by time: decode any file, put its frames on an exact grid, write small
files."""
