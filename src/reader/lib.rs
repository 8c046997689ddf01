//! The streaming reader: files in, Arrow record batches of exact size out. Nothing here knows Python.
