"""Backup and restore: SQL and RAW as one folder of portable files, whatever engine they came from or go to.

SQL and RAW are the truth: LIVE is made again from RAW, and RAW holds what the log held. A backup names the state that
it shows (`take.py`), writes it in pages (`sql_file.py`, `raw_file.py`, `row_file.py`), and is whole when its manifest
is there (`manifest.py`). A restored deployment goes on in an epoch of its own (`restore.py`).
"""
