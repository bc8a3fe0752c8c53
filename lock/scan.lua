-- Reads one page of a hash.
--
-- ARGV  7 which of KEYS, 8 cursor
-- reply ok, µs, next cursor ("0" at the end), then fields and values
local page = redis.call('HSCAN', KEYS[tonumber(ARGV[7])], ARGV[8], 'COUNT', '500')
local out = {'ok', stamp, page[1]}
for _, s in ipairs(page[2]) do add(out, s) end
return out
