#!lua flags=no-writes
-- Read outcomes by offset, of one epoch. KEYS: header, outcomes. ARGV: epoch, offsets. Nothing when the lane is in another.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {} end
local found = {}
for first = 2, #ARGV, 4000 do
  local part = redis.call('HMGET', KEYS[2], unpack(ARGV, first, math.min(first + 3999, #ARGV)))
  for i = 1, #part do found[#found + 1] = part[i] end
end
return found
