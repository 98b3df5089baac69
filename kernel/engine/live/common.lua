-- Shared by the scripts of a lane. Every key of a lane begins with its slot tag: KEYS[1] is the header, `{l}h`.
local HEADER = KEYS[1]
local TAG = string.sub(HEADER, 1, -2)
local SLICE = 4000 -- arguments of one call; Lua's stack holds 8000

-- While the lane's slot moves to another node key by key, a key that is not here may be there: the server then refuses to
-- look for one. Looking for one that never is makes it refuse before anything was read or written.
redis.call('EXISTS', TAG .. 'never')

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

-- Key filters (ADR 7): a generation's sub-hash g:s has one in the hash `f:g:s`. Its field `buckets` is their number, each
-- other field a bucket, the joined first PRINT bytes of the digests whose next four bytes name it.
local PRINT = 4
local function bucket_of(digest, buckets)
  local a, b, c, d = string.byte(digest, 5, 8)
  return string.format('%d', (((a * 256 + b) * 256 + c) * 256 + d) % buckets)
end

local function holds(bucket, print)
  local from = 1
  while true do
    local found = string.find(bucket, print, from, true)
    if not found then return false end
    if found % PRINT == 1 then return true end
    from = found + 1
  end
end

-- Ask a filter for the digests that are not `met`, and mark in `doubted` those that it may hold.
local function ask_filter(key, digests, met, doubted)
  local buckets = tonumber(redis.call('HGET', key, 'buckets') or nil)
  if not buckets then return end
  for first = 1, #digests, SLICE do
    local places, names = {}, {}
    for i = first, math.min(first + SLICE - 1, #digests) do
      if not met[i] and not doubted[i] then
        places[#places + 1] = i
        names[#names + 1] = bucket_of(digests[i], buckets)
      end
    end
    if #names > 0 then
      local held = redis.call('HMGET', key, unpack(names))
      for n, i in ipairs(places) do
        if held[n] and holds(held[n], string.sub(digests[i], 1, PRINT)) then doubted[i] = true end
      end
    end
  end
end

-- Look up joined digests of one sub-hash; `generations` newest first, so the first entry met rules. `filtered` is the
-- newest generation that has a filter, or false; `doubt` is told what one may hold that no newer entry rules.
local function find(generations, sub, joined, hit, filtered, doubt)
  local digests, met, doubted = {}, {}, {}
  for i = 1, #joined / 16 do digests[i] = string.sub(joined, 16 * i - 15, 16 * i) end
  for generation in string.gmatch(generations, '%d+') do
    local key = TAG .. 'k:' .. generation .. ':' .. sub
    if redis.call('EXISTS', key) == 1 then
      for first = 1, #digests, SLICE do
        local last = math.min(first + SLICE - 1, #digests)
        local entries = redis.call('HMGET', key, unpack(digests, first, last))
        for i = first, last do
          local entry = entries[i - first + 1]
          if entry and not met[i] then
            met[i] = true
            hit(i, digests[i], entry)
          end
        end
      end
    end
    if filtered and tonumber(generation) <= tonumber(filtered) then
      ask_filter(TAG .. 'f:' .. generation .. ':' .. sub, digests, met, doubted)
    end
  end
  for i in pairs(doubted) do doubt(i, digests[i]) end
end

-- Write the hashes that follow in ARGV: how many; each its name in the lane, its number of arguments, its arguments.
local function write_hashes()
  for _ = 1, tonumber(take()) do
    local key, count = TAG .. take(), tonumber(take())
    for first = at + 1, at + count, SLICE do
      redis.call('HSET', key, unpack(ARGV, first, math.min(first + SLICE - 1, at + count)))
    end
    at = at + count
  end
end
