-- Claims attempts at some of many runs that have owner, lease, maximum and retention
-- in common, for callers who do not wait.
--
-- ARGV  7 how many may be granted, 8 what follows the position in each entry: nonce(11)
--       lease(14) owner, 9 maximum of attempts, 10 retention (ms, 14 digits); then the
--       place of each run
-- reply ok, µs, a letter for each run; and for each of g, h, D and x: entry of the lock,
--       or "", and record, or ""
--       g  granted: its first attempt, or what an earlier send of this call was granted
--       h  held by another
--       d  done, by the first attempt;  D  done otherwise
--       x  exhausted
--       -  not tried: enough were granted, or are for claim.lua
--       ?  for claim.lua: failed or lapsed before, offered, waited for, or not ours
-- It decides only what can be told from a record, or else from a record and its
-- lock, without changing either; and it grants what is free and has no record.
local most, rest, max, retention = tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10]
local nonce, lease, owner = sub(rest, 1, 11), sub(rest, 12, 25), sub(rest, 26)
local records = redis.call('HMGET', JOBS, unpack(ARGV, 11))
local waiters = redis.call('ZCARD', QUEUE) > 0
local forgets = #redis.call('ZRANGEBYSCORE', RETENTION, '-inf', num(now), 'LIMIT', '0', '1') > 0
local letters, entries, at, names = {}, {}, {}, {}

local DONE = 'Jd' .. ms(0) .. ' 1 '
for i, rec in ipairs(records) do
  local letter = rec and sub(rec, 1, 19) == DONE and 'd'
  if rec and not letter then
    local state, attempts = match(rec, '^J([dxp])%d%d%d%d%d%d%d%d%d%d%d%d%d%d (%d+) %d+ %d')
    letter = state == 'd' and 'D' or (state == 'p' or state == 'x' and tonumber(attempts) >= tonumber(max)) and 'x'
  end
  local place = ARGV[10 + i]
  if letter and forgets then
    local till = redis.call('ZSCORE', RETENTION, place)
    if till and find(till, '^%d') and tonumber(till) <= now then letter = false end -- as good as forgotten
  end
  if letter then
    letters[i] = letter
  else
    at[#at + 1] = i
    names[#at] = sub(place, 5, 4 + tonumber(sub(place, 1, 4), 16))
  end
end

local found = #at > 0 and redis.call('HMGET', LOCKS, unpack(names)) or {}
for k, i in ipairs(at) do
  local v = found[k]
  if v and find(v, '^[LG]%d%d%d%d%d%d%d%d%d%d%d%d%d%d[0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]%d%d%d%d%d%d%d%d%d%d%d%d%d%d.') then
    local till, length = tonumber(sub(v, 2, 15)), sub(v, 46, 59)
    if till > now and (length == NEVER or till - now <= tonumber(length)) then
      letters[i], entries[i] = 'h', v
      if sub(v, 35, 45) == nonce then letters[i], most = 'g', most - 1 end
    end
  end
end

local granted, resources = {}, {} -- where they stand in the call, and what they lock
local expiry = expiryAfter(lease)
local record = {'Jr' .. ms(0), '1', max, retention, lease, '1', '', nonce, ms(now), '0', '-', #owner, '0', owner}
for k, i in ipairs(at) do
  if letters[i] then -- held
  elseif most <= 0 then
    letters[i] = '-'
  else
    most = most - 1
    local anyone
    if waiters then
      local queue = 'f' .. sub(ARGV[10 + i], 1, 4 + #names[k])
      anyone = redis.call('ZRANGEBYLEX', QUEUE, '[' .. queue, '(' .. queue .. '\255', 'LIMIT', '0', '1')[1]
    end
    if found[k] or records[i] or anyone then
      letters[i] = '?'
    else
      local fence = nextFence() .. format('%03d', #granted)
      granted[#granted + 1] = i
      resources[#granted] = names[k]
      record[7] = fence
      letters[i], entries[i], records[i] = 'g', 'L' .. expiry .. fence .. rest, table.concat(record, ' ')
    end
  end
end

local out = {'ok', stamp, table.concat(letters)}
for i, letter in ipairs(letters) do
  if letter ~= 'd' and letter ~= '-' and letter ~= '?' then
    out[#out + 1] = entries[i] or ''
    out[#out + 1] = records[i] or ''
  end
end
if #granted == 0 then return out end

local kept = retention == NEVER and '+inf' or num(now + math.max(tonumber(retention), tonumber(lease)) + tonumber(lease))
if not (forgets or PUBLISH or due(#granted)) then -- nothing but the grants is to be written
  local expiries, keeps, jobs, locks = {}, {}, {}, {}
  for g, i in ipairs(granted) do
    local r, place, first, second = resources[g], ARGV[10 + i], 2 * g - 1, 2 * g
    expiries[first], expiries[second] = expiry, r
    keeps[first], keeps[second] = kept, place
    jobs[first], jobs[second] = place, records[i]
    locks[first], locks[second] = r, entries[i]
  end
  permit('HSET', LOCKS, '', '')
  redis.call('ZADD', EXPIRY, unpack(expiries)) -- first, since this key was not read: it may not be ours
  redis.call('HSET', META, 'fence', nextFence())
  redis.call('ZADD', RETENTION, unpack(keeps))
  redis.call('HSET', JOBS, unpack(jobs))
  redis.call('HSET', LOCKS, unpack(locks))
  return out
end

--@library

local mine = {}
fenceOf()
for g, i in ipairs(granted) do
  local r, place = resources[g], ARGV[10 + i]
  mine[r], mine[place] = true, true
  putLock(r, entries[i])
  add(setJob, place, records[i])
  add(setKept, kept, place)
  if PUBLISH then emit('l', r, owner, fenceIn(entries[i])) end
end
sweep(2 * #granted + 6, mine) -- as claim.lua does
trim(num(2 * #granted), mine)
flush()
return out
