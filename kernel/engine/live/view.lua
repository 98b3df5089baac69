#!lua flags=no-writes
-- Look at a lane. KEYS: header, snapshots, accounts, catalog. ARGV: the server's run, greatest age of the catalog's version
-- in ms; customers. Returns time, catalog, header, snapshots, accounts.
--#include believed.lua
local function values(key)
  local found = {}
  for first = 3, #ARGV, 4000 do
    local part = redis.call('HMGET', key, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
    for i = 1, #part do found[#found + 1] = part[i] end
  end
  return found
end
return {
  redis.call('TIME'), believed(KEYS[4], ARGV[1], ARGV[2]), redis.call('HGETALL', KEYS[1]), values(KEYS[2]), values(KEYS[3]),
}
