"""The models that the server offers."""

from __future__ import annotations

from fastapi import APIRouter

from unetr.serve.schemas import ModelsAnswer, model_answer
from unetr.serve.web.serving import Here

router = APIRouter(prefix="/api/models", tags=["models"])


@router.get("", summary="The models that are offered")
async def list_models(serving: Here) -> ModelsAnswer:
    """What each model calls itself, what it finds, and how well it did when it was measured."""
    return ModelsAnswer(models=[model_answer(model) for model in serving.service.models.values()])
