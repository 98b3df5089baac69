"""The four ports and their adapters: log, live, raw, sql. Below the roof the only place that imports drivers."""
