-- The catalog's version in hash `key`, or false: it was never told, not in this run of the server (which may have lost its
-- last writes since), or SQL was last compared more than `seen_ms_max` ago.
local function believed(key, run, seen_ms_max)
  local held = redis.call('HMGET', key, 'version', 'run', 'seen')
  if not held[1] or held[2] ~= run then return false end
  local time = redis.call('TIME')
  local age = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(held[3])
  return age >= 0 and age <= tonumber(seen_ms_max) and held[1]
end
