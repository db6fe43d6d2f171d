"""Pictures and the report page. Knows arrays, results and logs; no network and no reader of scans."""
