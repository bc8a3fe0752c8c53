-- Stands in front of every script that needs a whole shard.
--
-- KEYS  1 meta, 2 locks, 3 expiry, 4 queue, 5 jobs, 6 retention
-- ARGV  1 number of shards, 2 this shard, 3 namespace,
--       4 not-after (ms of Redis time; 0: none), 5 how long an offer stands (ms),
--       6 "1" to publish lock, unlock and extend events; then the script's own
-- reply {status, µs of Redis time, …}; any status but "ok" means that nothing was executed:
--       new     the shard has no number of shards yet
--       shards  the namespace has another number of shards, which follows
--       late    not-after has passed
--       corrupt meta is not ours
--
-- It reads first and writes last (flush), adding before it removes: what is
-- checked by a read cannot fail half-way, and no key of a migrating slot is
-- touched after it became empty. Times derive from one TIME. It never writes
-- over a value that is not ours.
--
-- An entry of locks is   L expiry(14) fence(19) nonce(11) lease(14) owner
--              or        G …, the same, which is in expiry as one of a group,
--              or        O until(14) member, an offer to that member of queue.
-- A member of expiry is  a resource, of at most 512 bytes,
--              or        a group, which is longer: resources with \0 between them
-- A place is             hex4(#resource) resource kind(p plain, j job) hex4(#run) run
-- Members of queue are   f place arrival(16) waiter(11), and, to find it again,
--                        r place waiter(11) arrival(16)
-- A record of jobs is    J state notbefore(14) attempts max retention lease grants, newest first:
--                        number fence(19) nonce(11) granted ended end #owner #cause owner cause
-- state: r running, f failed, a no attempt counted, d done, x exhausted, p permanently
-- end:   - running, d done, f failed, x permanent, r returned, l lapsed
local META, LOCKS, EXPIRY, QUEUE, JOBS, RETENTION = unpack(KEYS)
local NS, OFFER, PUBLISH = ARGV[3], tonumber(ARGV[5]), ARGV[6] == '1'
local NEVER = '99999999999999'
local sub, find, match, format = string.sub, string.find, string.match, string.format

local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = time[1] .. format('%06d', time[2])

local meta = redis.call('HMGET', META, 'shards', 'fence', 'event')
if meta[1] ~= ARGV[1] then
  return {meta[1] and 'shards' or 'new', stamp, meta[1] or ''}
end
for i = 2, 3 do -- beyond that, a number would no longer grow by one
  local n = meta[i]
  if n and not (find(n, '^%d+$') and (#n < 16 or #n == 16 and n < '89')) then
    return {'corrupt', stamp}
  end
end
if ARGV[4] ~= '0' and now > tonumber(ARGV[4]) then
  return {'late', stamp}
end

-- permit has Redis refuse a command now that it would refuse after the first write,
-- which would stay. Redis before 7.0 cannot be asked.
local function permit(...)
  local may = redis.acl_check_cmd
  if may and not may(...) then redis.call(...) end
end
local function ms(t) return format('%014.0f', t) end
local function num(n) return format('%.0f', n) end
local function expiryAfter(lease) return lease == NEVER and NEVER or ms(now + tonumber(lease)) end
local function score(t) return t == NEVER and '+inf' or t end
local function nextFence() -- most frequently as text, since to read and to write numbers takes long
  local last = meta[2] or '0'
  if #stamp == 16 and (#last < 16 or last < stamp) then return stamp end
  return format('%016.0f', math.max(tonumber(last) + 1, us))
end
-- due tells whether a grant of n resources is to sweep: whether anything has run
-- out. To look costs as much as a write; small grants look at every fourth resource.
local function due(n)
  return us % 4 < n and redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', num(now), 'LIMIT', '0', '1')[1]
end
local waiting -- how many members the queue has
