#!lua flags=no-writes
-- Read the catalog's version. KEYS: catalog. ARGV: the server's run, greatest age in ms. Returns version, or nil.
--#include believed.lua
return believed(KEYS[1], ARGV[1], ARGV[2])
