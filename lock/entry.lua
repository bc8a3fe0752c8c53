-- Entries of locks: how they are read and written, and how a script writes what
-- it has decided, in the end. Stands, with handover.lua and record.lua, where a
-- script says so: what is built there costs time in every call, so the most
-- frequent cases are over before.
--
-- Shapes are head.lua's; they are written out, since a call would build them anew
-- each time.
local LOCK = '^[LG]%d%d%d%d%d%d%d%d%d%d%d%d%d%d[0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]%d%d%d%d%d%d%d%d%d%d%d%d%d%d.'
local UNTIL = '^O%d%d%d%d%d%d%d%d%d%d%d%d%d%df.*%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$'
local MEMBER = '^f.*%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d[%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]$'
local RECORD = '^J([rfadxp])(%d%d%d%d%d%d%d%d%d%d%d%d%d%d) (%d+) (%d+) (%d%d%d%d%d%d%d%d%d%d%d%d%d%d) (%d%d%d%d%d%d%d%d%d%d%d%d%d%d) ()'
local GRANT = '^(%d+) ([0-8]%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d) ([%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-][%w_%-]) (%d+) (%d+) ([-dfxrl]) (%d+) (%d+) ()'

-- What will be written, by flush.
local setLock, delLock, setExpiry, delExpiry = {}, {}, {}, {}
local delGroup, backExpiry = {}, {} -- of expiry, and what is still due of it
local setQueue, delQueue = {}, {}
local setJob, delJob, setKept, delKept = {}, {}, {}, {}
local PART = 4000 -- so much of a list goes in one command: unpack takes about 8,000
local wakes, events = {}, {}
local fence -- this call's first 16 digits, once a grant needs one

local function add(list, a, b)
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

local function fenceOf()
  fence = fence or nextFence()
  return fence
end

-- emit(kind, …) notes one event: its kind and its fields, each with its length.
local function emit(kind, ...)
  local parts = {kind}
  for _, s in ipairs({...}) do
    add(parts, #s .. ':' .. s)
  end
  add(events, table.concat(parts))
end

-- permitted fails if the user lacks a right that flush needs.
local function permitted()
  if not redis.acl_check_cmd then return end
  if #wakes > 0 then permit('PUBLISH', NS .. ':wake:' .. wakes[1], '') end
  if #events > 0 then permit('PUBLISH', NS .. ':events', '') end
  if #backExpiry + #setExpiry + #setKept + #setQueue > 0 then permit('ZADD', EXPIRY, '0', '') end
  if #setJob + #setLock > 0 then permit('HSET', LOCKS, '', '') end
  if #delExpiry + #delGroup + #delQueue + #delKept > 0 then permit('ZREM', EXPIRY, '') end
  if #delLock + #delJob > 0 then permit('HDEL', LOCKS, '') end
end

-- flush writes all that was noted: counters, messages, what is added, what is
-- removed. If the first of these is refused (no memory, not the primary), or if a
-- right is missing, nothing is written. With soft, offers that cannot be stored are given
-- up: what is to be released is released all the same, and whoever was to be
-- offered it is woken and claims.
local function flush(soft)
  permitted()
  local put, failed = soft and redis.pcall or redis.call
  local function write(command, key, list)
    for i = 1, #list, PART do
      if failed then return end
      local reply = put(command, key, unpack(list, i, math.min(#list, i + PART - 1)))
      failed = type(reply) == 'table' and reply.err
    end
  end
  local function remove(command, key, list)
    for i = 1, #list, PART do
      redis.call(command, key, unpack(list, i, math.min(#list, i + PART - 1)))
    end
  end
  local set, first = {}
  if fence then add(set, 'fence', fence) end
  if #events > 0 then
    first = meta[3] and tonumber(meta[3]) + 1 or us
    add(set, 'event', num(first + #events - 1))
  end
  write('HSET', META, set)
  for i = 1, #wakes, 2 do
    redis.call('PUBLISH', NS .. ':wake:' .. wakes[i], wakes[i + 1])
  end
  if first then -- although failed: its numbers are given again then, which hides nothing
    redis.call('PUBLISH', NS .. ':events', table.concat({ARGV[2], num(first), #events, stamp, table.concat(events)}, ' '))
  end
  write('ZADD', EXPIRY, backExpiry) -- of another type, perhaps, which no script has read
  write('ZADD', EXPIRY, setExpiry) -- last: what a grant sets is what counts
  write('ZADD', RETENTION, setKept)
  write('ZADD', QUEUE, setQueue)
  write('HSET', JOBS, setJob)
  write('HSET', LOCKS, setLock)
  if failed then
    permit('HDEL', LOCKS, '')
    for i = 1, #setLock, 2 do
      add(delLock, setLock[i])
      add(delExpiry, setLock[i])
    end
  end
  remove('ZREM', EXPIRY, delExpiry)
  if not failed then remove('ZREM', EXPIRY, delGroup) end
  remove('HDEL', LOCKS, delLock)
  remove('ZREM', QUEUE, delQueue)
  remove('HDEL', JOBS, delJob)
  remove('ZREM', RETENTION, delKept)
  return not failed
end

-- look tells what an entry of locks is: free, held, lapsed, offer, stale (a
-- lapsed offer) or bad; and its end in ms.
local function look(v)
  if not v then return 'free' end
  local e = tonumber(sub(v, 2, 15))
  if find(v, LOCK) then
    return e > now and 'held' or 'lapsed', e
  end
  if find(v, UNTIL) then
    return e > now and 'offer' or 'stale', e
  end
  return 'bad'
end

local function fenceIn(v) return sub(v, 16, 34) end
local function nonceIn(v) return sub(v, 35, 45) end
local function leaseIn(v) return sub(v, 46, 59) end
local function ownerIn(v) return sub(v, 60) end

-- wanted tells whether this is the lock that a caller means: by its whole entry,
-- by F fence owner, by W owner, or * for any.
local function wanted(v, want)
  if v == want then return true end
  local c = sub(want, 1, 1)
  if c == 'L' or c == 'G' then return fenceIn(v) == fenceIn(want) end
  if c == 'F' then return fenceIn(v) == sub(want, 2, 20) and ownerIn(v) == sub(want, 21) end
  if c == 'W' then return ownerIn(v) == sub(want, 2) end
  return c == '*'
end

local function putLock(r, v)
  add(setLock, r, v)
  add(setExpiry, score(sub(v, 2, 15)), r)
end

local function dropLock(r)
  add(delLock, r)
  add(delExpiry, r)
end

-- expired reports a lapsed lock. Whoever calls it removes or replaces the entry.
local function expired(r, v)
  emit('x', r, ownerIn(v), fenceIn(v))
end

-- lasting cuts an end that is further away than it was set: the server's clock
-- was set back. It returns the end, and whether it was cut.
local function lasting(e, lease)
  if lease ~= NEVER and e - now > tonumber(lease) then return now + tonumber(lease), true end
  return e, false
end

-- arguments returns the columns of the script's own arguments, from ARGV[from]
-- on, width at a time.
local function arguments(from, width)
  local columns = {}
  for c = 1, width do
    local column = {}
    for i = from + c - 1, #ARGV, width do column[#column + 1] = ARGV[i] end
    columns[c] = column
  end
  return unpack(columns)
end

-- typed fails if a sorted set that may be written is something else.
local function typed(...)
  for _, key in ipairs({...}) do redis.call('ZSCORE', key, '') end
end
