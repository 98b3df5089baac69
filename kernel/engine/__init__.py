"""The four ports and their adapters: log, live, raw, sql. The only place where a store's technology has a name."""
