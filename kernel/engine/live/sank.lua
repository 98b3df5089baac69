#!lua flags=allow-oom
-- Raise `sunk` and drop outcomes; it frees memory, so it runs without any left. KEYS: header, outcomes.
-- ARGV: token, begun, sunk, offsets to drop. Returns 1, or 0 when the lane is not what the sink began from.
local held = redis.call('HMGET', KEYS[1], 'state', 'token', 'sunk')
if held[1] ~= 'ready' or held[2] ~= ARGV[1] or held[3] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'sunk', ARGV[3])
for first = 4, #ARGV, 4000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
return 1
