//! The text that `str(row)` gives of the rows of a table, straight from its Arrow columns. Nothing here
//! knows Python.
