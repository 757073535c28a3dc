"""The paper's claims on drawn characters, whose truth is known."""
