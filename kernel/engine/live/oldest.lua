#!lua flags=no-writes
-- Tell the lowest offset with an outcome, or nil. KEYS: outcomes.
local lowest
for _, offset in ipairs(redis.call('HKEYS', KEYS[1])) do
  local number = tonumber(offset)
  if not lowest or number < lowest then lowest = number end
end
return lowest and string.format('%.0f', lowest) or false
