#!lua flags=allow-oom
-- Raise the catalog's version, which never falls. KEYS: catalog. ARGV: version.
local held = redis.call('GET', KEYS[1])
if not held or tonumber(held) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
