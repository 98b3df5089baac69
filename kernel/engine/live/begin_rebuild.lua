#!lua flags=allow-oom
-- Empty a lane and set `rebuilding`. KEYS: header. ARGV: the token expected ('' for an absent lane), whether one is, then
-- the header's fields and values. Returns 1, or 0 when the token is another.
--#include common.lua
local token, expects = take(), take()
local held = redis.call('HGET', HEADER, 'token')
if expects == '1' then
  if held ~= token then return 0 end
elseif redis.call('EXISTS', HEADER) == 1 then
  return 0
end
for _, name in ipairs({'h', 't', 'a', 'o'}) do redis.call('UNLINK', TAG .. name) end
for _, kind in ipairs({'k', 'f'}) do
  for _, key in ipairs(redis.call('KEYS', TAG .. kind .. ':*')) do redis.call('UNLINK', key) end
end
redis.call('HSET', HEADER, 'step', '0', unpack(ARGV, at + 1))
return 1
