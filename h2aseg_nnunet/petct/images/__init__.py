"""Images in physical space: reading, grids, orientation, lesions and display."""
