"""Reading study data, with the file and line of every row."""
