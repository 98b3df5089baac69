#!lua flags=allow-oom
-- Move entries of one sub-hash into its key filter, in one step, so that a digest is always in one of the two; it frees
-- memory, so it runs without any left. KEYS: header. ARGV: rebuilding or not, token, mark (the least `sunk`; rebuilding:
-- the step), next step; generation, sub-hash, cursor, how many to look at, the first bytes of entries that stay.
-- Returns {cursor, how many were moved}, or nil when the lane is not what the caller saw.
--#include common.lua
local rebuilding, token, mark, after = take(), take(), take(), take()
local held = redis.call('HMGET', HEADER, 'state', 'token', 'sunk', 'step', 'filtered')
if held[2] ~= token then return false end
if rebuilding == '1' then
  if held[1] ~= 'rebuilding' or held[4] ~= mark then return false end
  redis.call('HSET', HEADER, 'step', after)
elseif held[1] ~= 'ready' or tonumber(held[3]) < tonumber(mark) then
  return false
end
local generation, sub, cursor, count, keep = take(), take(), take(), take(), take()
local BUCKET = 64 -- keys of a bucket on average: 256 bytes to search, and little beside them to pay for
local entries, filter = TAG .. 'k:' .. generation .. ':' .. sub, TAG .. 'f:' .. generation .. ':' .. sub
local size = redis.call('HLEN', entries)
if size == 0 then return {'0', 0} end
local scanned = redis.call('HSCAN', entries, cursor, 'COUNT', count)
local digests, seen = {}, {}
for i = 1, #scanned[2], 2 do
  local digest, entry = scanned[2][i], scanned[2][i + 1]
  if not seen[digest] and string.sub(entry, 1, #keep) ~= keep then -- a scan may tell one twice
    seen[digest] = true
    digests[#digests + 1] = digest
  end
end
if #digests == 0 then return {scanned[1], 0} end
local buckets = tonumber(redis.call('HGET', filter, 'buckets') or nil)
if not buckets then
  buckets = 1
  while buckets * BUCKET < size do buckets = buckets * 2 end
  redis.call('HSET', filter, 'buckets', string.format('%d', buckets))
end
if not held[5] or tonumber(held[5]) < tonumber(generation) then redis.call('HSET', HEADER, 'filtered', generation) end
local added, names = {}, {}
for _, digest in ipairs(digests) do
  local name = bucket_of(digest, buckets)
  if not added[name] then names[#names + 1] = name end
  added[name] = (added[name] or '') .. string.sub(digest, 1, PRINT)
end
local HALF = SLICE / 2 -- a field and its value each
for first = 1, #names, HALF do
  local last = math.min(first + HALF - 1, #names)
  local held, fields = redis.call('HMGET', filter, unpack(names, first, last)), {}
  for i = first, last do
    fields[#fields + 1] = names[i]
    fields[#fields + 1] = (held[i - first + 1] or '') .. added[names[i]]
  end
  redis.call('HSET', filter, unpack(fields))
end
for first = 1, #digests, SLICE do
  redis.call('HDEL', entries, unpack(digests, first, math.min(first + SLICE - 1, #digests)))
end
return {scanned[1], #digests}
