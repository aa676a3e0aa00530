"""The half that trains networks; needs `pip install 'siglum[lab]'`."""
