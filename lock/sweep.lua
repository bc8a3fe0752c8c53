-- Settles what has run out, for those who watch.
--
-- ARGV  7 how many entries at the most
-- reply ok, µs, number of the shard's last event (this call's included), "1" if
--       there is more to sweep
local more = sweep(ARGV[7], {})
trim('50', {})
flush(true)
local last = tonumber(meta[3] or '0')
if #events > 0 then last = (meta[3] and last + 1 or us) + #events - 1 end
return {'ok', stamp, num(last), more and '1' or ''}
