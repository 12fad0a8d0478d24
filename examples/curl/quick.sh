curl -X POST localhost:8080/topics -d '{"name":"returns"}'
curl -X POST localhost:8080/topics/returns/messages -d '{"payload":{"order_id":"ORD-124"}}'
curl "localhost:8080/topics/returns/messages?last_n=10"
curl localhost:8080/topics
curl localhost:8080/stats
curl localhost:8080/metrics
curl -X DELETE localhost:8080/topics/returns
