"""Import of files: rows of CSV, JSONL or Parquet become usage events, sent through the HTTP API.

Owns the mapping file, the reading of rows, what a row means, and the sending with retries. Invariants: an event's
default key is a function of the file's bytes, the row and the entry alone, so a second import adds nothing; a bad row
is reported with its line and reason and costs no other row. Source: DESIGN 7.
"""
