"""Use cases: an image to a restored image, a folder to a restored folder."""
