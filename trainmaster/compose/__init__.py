"""What the containers of deploy/compose run beside the services: secrets, streams, and which agent one is."""
