"""TIFF and BigTIFF: directories parsed once, single tiles read and decoded, pyramids written."""
