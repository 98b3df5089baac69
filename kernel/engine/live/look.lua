#!lua flags=no-writes
-- Find entries. ARGV: generations newest first; then each sub-hash and its joined digests.
-- Returns ready or not, then index (from 1, over all digests in the order given) and entry of each hit.
--#include common.lua
if redis.call('HGET', HEADER, 'state') ~= 'ready' then return {0} end
local generations, found, base = take(), {1}, 0
while at < #ARGV do
  local sub, joined = take(), take()
  find(generations, sub, joined, function(i, _, entry)
    found[#found + 1] = base + i
    found[#found + 1] = entry
  end)
  base = base + #joined / 16
end
return found
