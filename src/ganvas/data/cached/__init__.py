"""Decoded data sets on disk: each is decoded once, and `ganvas cache` lists and removes them."""
