#!lua flags=allow-oom
-- Raise the catalog's version, which never falls, and note when and in which run of the server. KEYS: catalog.
-- ARGV: the server's run; the run that the caller knew before it read the version; the version ('' raises nothing).
-- Returns the run. What was read before a run began says nothing about what that run has lost: it is not noted then.
local run, known, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not version then return run end
local held = redis.call('HGET', KEYS[1], 'version')
if not held or tonumber(held) < version then redis.call('HSET', KEYS[1], 'version', ARGV[3]) end
if known == run then
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  redis.call('HSET', KEYS[1], 'run', run, 'seen', string.format('%.0f', now))
end
return run
