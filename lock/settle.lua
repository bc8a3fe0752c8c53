-- Ends attempts and releases their locks, in one step with handing them over.
--
-- ARGV  from 7 for each: place, resource, fence (19), end (d, f, x or r), delay
--       (ms), retention (ms, 14 digits), cause
-- reply ok, µs, then for each: settled, again (it had ended in this way before),
--       lost (it is not the run's grant any more, or its lease has run out),
--       gone (the record knows nothing of it), bad (not ours)
-- It never changes anything but for the holder of that very grant. A failure of
-- the last attempt is exhausted at once. Returned attempts are not counted.
local places, names = {}, {}
for i = 7, #ARGV, 7 do
  places[#places + 1], names[#names + 1] = ARGV[i], ARGV[i + 1]
end
local found = redis.call('HMGET', LOCKS, unpack(names))
local records = redis.call('HMGET', JOBS, unpack(places))
waiting = redis.call('ZCARD', QUEUE)

-- The most frequent case, before anything else is built: first attempts that are
-- done, while nobody waits for anything in the shard.
local plain = waiting == 0 and not PUBLISH
local jobs, keeps, told, replies = {}, {}, {}, {'ok', stamp}
for i, r in ipairs(names) do
  if not plain then break end
  local place, _, fence, how, delay, retention, cause = unpack(ARGV, 7 * i, 7 * i + 6)
  local rec, v, at = records[i], found[i]
  local max, lease, f, nonce, granted, size
  if rec and v and how == 'd' and delay == '0' and cause == '' then
    max, lease, f, nonce, granted, size, at = match(rec, '^Jr00000000000000 1 (%d+) %d%d%d%d%d%d%d%d%d%d%d%d%d%d (%d%d%d%d%d%d%d%d%d%d%d%d%d%d) 1 ([0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d) ([%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]) (%d+) 0 %- (%d+) 0 ()')
  end
  plain = f == fence and #rec - at + 1 == tonumber(size) and #max < 16 and #granted < 16
    and sub(v, 16, 45) == fence .. nonce and find(v, '^[LG]%d%d%d%d%d%d%d%d%d%d%d%d%d%d') and tonumber(sub(v, 2, 15)) > now
  if plain then
    local owner, length = sub(rec, at), tonumber(lease)
    rec = 'Jd' .. ms(0) .. ' 1 ' .. max .. ' ' .. retention .. ' ' .. lease .. ' 1 ' .. fence .. ' ' .. nonce .. ' ' .. granted
      .. ' ' .. ms(now) .. ' d ' .. size .. ' 0 ' .. owner
    jobs[2 * i - 1], jobs[2 * i] = place, rec
    keeps[2 * i - 1], keeps[2 * i] = retention == NEVER and '+inf' or num(now + math.max(tonumber(retention), length) + length), place
    told[i] = 'j' .. #r .. ':' .. r .. size .. ':' .. owner .. '19:' .. fence .. #place .. ':' .. place .. #rec .. ':' .. rec
    replies[2 + i] = 'settled'
  end
end
if plain then
  local first = meta[3] and tonumber(meta[3]) + 1 or us
  redis.call('ZSCORE', EXPIRY, '') -- before anything is written
  redis.call('ZSCORE', RETENTION, '')
  permit('PUBLISH', NS .. ':events', '')
  permit('ZADD', RETENTION, '0', '')
  permit('ZREM', EXPIRY, '')
  permit('HDEL', LOCKS, '')
  redis.call('HSET', META, 'event', num(first + #names - 1))
  redis.call('PUBLISH', NS .. ':events', table.concat({ARGV[2], num(first), #names, stamp, table.concat(told)}, ' '))
  redis.call('ZADD', RETENTION, unpack(keeps))
  redis.call('HSET', JOBS, unpack(jobs))
  redis.call('ZREM', EXPIRY, unpack(names))
  redis.call('HDEL', LOCKS, unpack(names))
  return replies
end

--@library

local places, names, fences, hows, delays, retentions, causes = arguments(7, 7)
typed(EXPIRY, RETENTION) -- before anything is written

-- endOf finds how the grant with this fence ended.
local function endOf(rec, wanted)
  local at = select(7, match(rec, RECORD))
  for _ = 1, 128 do
    local _, f, _, _, _, how, owner, cause, from = match(rec, GRANT, at)
    if not f then return nil end
    if f == wanted then return how end
    at = from + owner + cause
  end
end

-- settle ends one attempt. It returns the status.
local function settle(i, r, place, fence, how, delay)
  local rec, v = records[i], found[i]
  if not rec then return 'gone' end
  local j = parse(rec)
  if not j or look(v) == 'bad' then return 'bad' end
  if j.fence ~= fence or j.how ~= '-' then
    local ended = endOf(rec, fence)
    return not ended and 'gone' or ended == how and 'again' or 'lost'
  end
  if not holds(j, v) then return 'lost' end

  if how == 'r' then
    giveBack(j)
  else
    j.how, j.ended, j.nb = how, ms(now), ms(0)
    if how == 'd' then
      j.state = 'd'
    elseif how == 'x' then
      j.state = 'p'
    elseif j.attempts >= j.max then
      j.state = 'x'
    else
      j.state = 'f'
      if delay > 0 then j.nb = ms(now + delay) end
    end
  end
  j.cause, j.retention = causes[i], retentions[i]
  rec = putJob(place, j)
  keep(place, j, now, delay)
  if PUBLISH then emit('u', r, j.owner, fence) end
  emit('j', r, j.owner, fence, place, j.older == '' and rec or newest(j))
  if j.state == 'd' or j.state == 'p' or j.state == 'x' then wakeAll(place) end
  vacate(r)
  return 'settled'
end

local out = {'ok', stamp}
for i, r in ipairs(names) do
  add(out, settle(i, r, places[i], fences[i], hows[i], tonumber(delays[i])))
end
flush()
return out
