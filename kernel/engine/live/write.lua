#!lua
-- Write a fold's result, all or nothing. ARGV: epoch, token, rules and next to compare; next, clock and seen to set;
-- generations newest first; number of groups of fresh digests, each sub-hash and joined digests; number of sub-hashes,
-- generations to drop; the hashes to write; number of outcomes to publish, each gateway, offset and the message's head,
-- which the outcomes follow. Returns {1, time}, {0, header} (moved) or {2, {digest, entry, …}, {digest, …}} (known, and
-- what a filter may hold).
--#include common.lua
local held = redis.call('HMGET', HEADER, 'state', 'epoch', 'token', 'rules', 'next', 'filtered')
if held[1] ~= 'ready' or held[2] ~= take() or held[3] ~= take() or held[4] ~= take() or held[5] ~= take() then
  return {0, redis.call('HGETALL', HEADER)}
end
local next_offset, clock, seen, generations = take(), take(), take(), take()
local known, maybe = {}, {}
for _ = 1, tonumber(take()) do
  local sub, joined = take(), take()
  find(generations, sub, joined, function(_, digest, entry)
    known[#known + 1] = digest
    known[#known + 1] = entry
  end, held[6], function(_, digest) maybe[#maybe + 1] = digest end)
end
if #known > 0 or #maybe > 0 then return {2, known, maybe} end
redis.call('HSET', HEADER, 'next', next_offset, 'clock', clock, 'seen', seen)
local subs = tonumber(take())
for generation in string.gmatch(take(), '%d+') do
  for sub = 0, subs - 1 do
    redis.call('UNLINK', TAG .. 'k:' .. generation .. ':' .. sub, TAG .. 'f:' .. generation .. ':' .. sub)
  end
end
write_hashes()
for _ = 1, tonumber(take()) do
  local channel, offset, head = TAG .. 'v:' .. take(), take(), take()
  redis.call('SPUBLISH', channel, head .. redis.call('HGET', TAG .. 'o', offset))
end
return {1, redis.call('TIME')}
