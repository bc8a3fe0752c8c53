-- Locks resources for callers who do not wait.
--
-- ARGV  7 mode: each, all (all or none) or force; 8 lease (14 digits) of all, or
--       "" to take each from its tail; 9 how expiry may have them: L each by
--       itself, G as a group; 10 how many resources, or "" if each has a tail; then
--       all resources, and either for each a tail = position(3) nonce(11) lease(14)
--       owner, or a few of these without position: the first for 000, the second for
--       001, …, and then the first again
-- reply ok, µs, the call's fence (16 digits; with G behind it if they are a group),
--       then index and entry of each that was not granted now: another's entry,
--       an offer, the very grant of this nonce, or "" for one that is not ours.
--       With all, where any was refused, the entry of those that were free is "-".
-- It never grants what is held or offered to another, except with force, and
-- never before an older waiter who may be granted.
local mode, lease = ARGV[7], ARGV[8]
local count = tonumber(ARGV[10])
local rests = count and #ARGV - 10 - count
count = count or (#ARGV - 10) / 2
local found = redis.call('HMGET', LOCKS, unpack(ARGV, 11, 10 + count))
waiting = redis.call('ZCARD', QUEUE)
local free = waiting == 0 and not due(count) and lease ~= '' and not PUBLISH
for i = 1, count do
  if found[i] then free = false break end
end
if free then -- by far the most frequent case, before anything else is built
  local fence, e, letter = nextFence(), expiryAfter(lease), ARGV[9]
  local head = letter .. e .. fence
  local list = {unpack(ARGV, 11, 10 + 2 * count)} -- of the right size
  permit('HSET', LOCKS, '', '')
  if letter ~= 'G' and count >= 8 then permit('ZREM', EXPIRY, '') end
  if letter == 'G' then -- before the rest: up to three resources, nobody has read this key, and it may not be ours
    redis.call('ZADD', EXPIRY, e, table.concat(ARGV, '\0', 11, 10 + count))
  else
    e = score(e)
    for i = 1, count do
      list[2 * i - 1], list[2 * i] = e, ARGV[10 + i]
    end
    -- Up to 128 short members are kept as a list that each addition searches; with
    -- a long one among them it becomes a skip list, and remains one.
    local long = count >= 8 and string.rep('-', 513)
    if long then redis.call('ZADD', EXPIRY, e, long) end
    redis.call('ZADD', EXPIRY, unpack(list))
    if long then redis.call('ZREM', EXPIRY, long) end
  end
  redis.call('HSET', META, 'fence', fence)
  if not rests then
    for i = 1, count do
      list[2 * i - 1], list[2 * i] = ARGV[10 + i], head .. ARGV[10 + count + i]
    end
  else
    local digits, i, rest = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}, 0, 0
    for tens = 0, (count - 1) / 10 do
      local first = head .. format('%02d', tens)
      for units = 1, math.min(10, count - i) do
        i, rest = i + 1, rest + 1
        if rest > rests then rest = 1 end
        list[2 * i - 1], list[2 * i] = ARGV[10 + i], first .. digits[units] .. ARGV[10 + count + rest]
      end
    end
  end
  redis.call('HSET', LOCKS, unpack(list))
  return {'ok', stamp, letter == 'G' and fence .. letter or fence}
end

--@library

local names, tails, mine = {}, {}, {}
for i = 1, count do
  local r = ARGV[10 + i]
  names[i], mine[r] = r, true
  tails[i] = rests and format('%03d', i - 1) .. ARGV[11 + count + (i - 1) % rests] or ARGV[10 + count + i]
end
sweep(2 * count + 6, mine) -- more than this call, and those that did not look, have added

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
