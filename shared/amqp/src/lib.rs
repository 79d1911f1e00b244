//! Queue over RabbitMQ: quorum queues, confirms, dead letters with reasons.
