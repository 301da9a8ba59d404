-- wrk's part of `python -m ops bench webhooks`: sends signed bodies, each once, and writes down
-- the id of every event that was acknowledged.
-- Arguments: the file of requests ("token<TAB>body", one a line), the file of acknowledgements.

local lines, acknowledged

function init(args)
   lines = io.open(args[1], "r")
   acknowledged = io.open(args[2], "w")
end

function request()
   local line = lines:read("*l")
   if not line then
      wrk.thread:stop()
      return wrk.format("GET", "/health")
   end
   local token, body = line:match("^([^\t]+)\t(.*)$")
   local headers = {
      ["Authorization"] = token,
      ["Content-Type"] = "application/webhook+json",
   }
   return wrk.format("POST", "/webhooks/livekit", headers, body)
end

function response(status, headers, body)
   local id = body:match('"id":"([^"]+)"')
   if status == 200 and id then
      acknowledged:write(id, "\n")
      acknowledged:flush()
   elseif status ~= 200 then
      acknowledged:write("status ", status, "\n")
   end
end
