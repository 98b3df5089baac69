#!lua flags=allow-oom
-- Remove a stream's oldest records. KEYS: the stream, its count of bytes.
-- ARGV: begin and end of the stream, the offset that stays whatever happens, ms and bytes to keep. Returns the new begin.
-- Offsets are dense and times and counts of bytes rise, so the first record to keep is found by halving.
local first, last = tonumber(ARGV[1]), math.min(tonumber(ARGV[2]), tonumber(ARGV[3]))
local keep_ms, keep_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total = tonumber(redis.call('GET', KEYS[2]) or '0')

local function goes(offset)
  local id = string.format('0-%.0f', offset + 1)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then return true end
  local fields = entry[2]
  return now - fields[2] > keep_ms or total - fields[4] + #fields[6] > keep_bytes
end

while first < last do
  local middle = math.floor((first + last) / 2)
  if goes(middle) then first = middle + 1 else last = middle end
end
redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('0-%.0f', first + 1))
return string.format('%.0f', first)
