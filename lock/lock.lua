-- Locks resources for callers who do not wait.
--
-- ARGV  7 mode: each, all (all or none) or force; 8 lease (14 digits) of all, or
--       "" to take each from its tail; then for each: resource, tail =
--       position(3) nonce(11) lease(14) owner
-- reply ok, µs, the call's fence (16 digits), then index and entry of each that
--       was not granted now: another's entry, an offer, the very grant of this
--       nonce, or "" for one that is not ours. With all, where any was refused,
--       the entry of those that were free is "-".
-- It never grants what is held or offered to another, except with force, and
-- never before an older waiter who may be granted.
local mode, lease, count = ARGV[7], ARGV[8], (#ARGV - 8) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 9, 8 + count))
waiting = redis.call('ZCARD', QUEUE)
local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', num(now), 'LIMIT', '0', '3')

local free = waiting == 0 and #due == 0 and lease ~= '' and not PUBLISH
for i = 1, count do
  if found[i] then free = false break end
end
if free then -- by far the most frequent case, before anything else is built
  local fence, e = nextFence(), expiryAfter(lease)
  local head = 'L' .. e .. fence
  local list = {unpack(ARGV, 9)} -- of the right size
  e = score(e)
  for i = 1, count do
    list[2 * i - 1], list[2 * i] = e, ARGV[8 + i]
  end
  redis.call('HSET', META, 'fence', fence)
  redis.call('ZADD', EXPIRY, unpack(list))
  for i = 1, count do
    list[2 * i - 1], list[2 * i] = ARGV[8 + i], head .. ARGV[8 + count + i]
  end
  redis.call('HSET', LOCKS, unpack(list))
  return {'ok', stamp, fence}
end

--@library

local names, tails, mine = {}, {}, {}
for i = 1, count do
  local r = ARGV[8 + i]
  names[i], tails[i], mine[r] = r, ARGV[8 + count + i], true
end
sweep(num(2 * count + 3), mine) -- more than this call adds

local out = {'ok', stamp, fenceOf()}
local prefixes = {}
local function grant(i)
  local r, tail = names[i], tails[i]
  local l = lease ~= '' and lease or sub(tail, 15, 28)
  local prefix = prefixes[l]
  if not prefix then
    local e = expiryAfter(l)
    prefix = {'L' .. e .. fence, score(e)}
    prefixes[l] = prefix
  end
  add(setLock, r, prefix[1] .. tail)
  add(setExpiry, prefix[2], r)
  if PUBLISH then emit('l', r, sub(tail, 29), fence .. sub(tail, 1, 3)) end
end

local granted, own, refused = {}, {}, {}
for i, r in ipairs(names) do
  local v, nonce = found[i], sub(tails[i], 4, 14)
  local kind, entry, gone, n
  if not v and waiting == 0 then
    kind = 'open'
  elseif mode == 'force' and (look(v) == 'offer' or look(v) == 'held' and nonceIn(v) ~= nonce) then
    kind = 'open'
  else
    kind, entry, gone, n = open(r, v, nonce)
    local m = kind == 'open' and mode ~= 'force' and waited() and nextFor(r, gone, n)
    if m then
      kind, entry = 'held', offer(r, m)
    end
  end
  if kind == 'open' then
    add(granted, i)
  elseif kind == 'own' then
    add(own, i)
  else
    add(refused, i)
    add(out, tostring(i), entry)
  end
end

if mode == 'all' and #refused > 0 then
  for _, i in ipairs(own) do -- what an earlier send got
    vacate(names[i])
    add(out, tostring(i), '-')
  end
  for _, i in ipairs(granted) do
    if found[i] then dropLock(names[i]) end -- lapsed, and reported
    add(out, tostring(i), '-')
  end
  granted = {}
else
  for _, i in ipairs(own) do add(out, tostring(i), found[i]) end
  for _, i in ipairs(granted) do grant(i) end
end
if #granted == 0 then fence = nil end
flush()
return out
