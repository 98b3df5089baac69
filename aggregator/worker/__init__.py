"""The workers between the log, LIVE and RAW: one lane's fold, the sink of all lanes, and the rebuild of a lane."""
