"""What the endpoints take and give, as pydantic models: they check requests and make the OpenAPI document."""
