"""What one can rely on: receipts compared with the world (`verify`), marks read back (`inspect`), signatures, captions."""
