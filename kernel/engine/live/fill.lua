#!lua
-- Write a part of a rebuild. KEYS: header. ARGV: token, step, next step, the hashes to write. Returns 1, or 0.
--#include common.lua
local held = redis.call('HMGET', HEADER, 'state', 'token', 'step')
if held[1] ~= 'rebuilding' or held[2] ~= take() or held[3] ~= take() then return 0 end
redis.call('HSET', HEADER, 'step', take())
write_hashes()
return 1
