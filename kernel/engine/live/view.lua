#!lua flags=no-writes
-- Look at a lane. KEYS: header, snapshots, accounts, catalog. ARGV: customers.
-- Returns time, catalog, header, snapshots, accounts.
local function values(key)
  local found = {}
  for first = 1, #ARGV, 4000 do
    local part = redis.call('HMGET', key, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
    for i = 1, #part do found[#found + 1] = part[i] end
  end
  return found
end
return {
  redis.call('TIME'), redis.call('GET', KEYS[4]), redis.call('HGETALL', KEYS[1]), values(KEYS[2]), values(KEYS[3]),
}
