#!lua flags=no-writes
-- Tell a stream's length and its last id (which trimming does not change); nil when it was never made. KEYS: the stream.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
local length, last
for i = 1, #info, 2 do
  if info[i] == 'length' then length = info[i + 1] end
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
return {length, last}
