#!lua
-- Write the header that makes a lane ready. KEYS: header. ARGV: token, step, fields and values. Returns 1, or 0.
local held = redis.call('HMGET', KEYS[1], 'state', 'token', 'step')
if held[1] ~= 'rebuilding' or held[2] ~= ARGV[1] or held[3] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('HDEL', KEYS[1], 'step')
return 1
