#!lua flags=no-writes
-- Find entries. KEYS: header, catalog. ARGV: the server's run, greatest age of the catalog's version in ms; generations
-- newest first; then each sub-hash and its joined digests.
-- Returns time, catalog, ready or not, then index (from 1, over all digests in the order given) and entry of each hit;
-- an empty entry says that a filter may hold it.
--#include common.lua
--#include believed.lua
local found = {redis.call('TIME'), believed(KEYS[2], take(), take()), 0}
local held = redis.call('HMGET', HEADER, 'state', 'filtered')
if held[1] ~= 'ready' then return found end
found[3] = 1
local generations, base = take(), 0
while at < #ARGV do
  local sub, joined = take(), take()
  find(generations, sub, joined, function(i, _, entry)
    found[#found + 1] = base + i
    found[#found + 1] = entry
  end, held[2], function(i)
    found[#found + 1] = base + i
    found[#found + 1] = ''
  end)
  base = base + #joined / 16
end
return found
