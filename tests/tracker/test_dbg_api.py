import asyncio, random, time
import pytest
from services.tracker.service import serve
from tests.tracker import story
@pytest.mark.parametrize("seed",[1,2])
async def test_cancel(settings, client, database, seed):
    await story.tell(client, story.whole_search())
    hung=0; n=300; rng=random.Random(seed)
    for i in range(n):
        t=asyncio.create_task(serve(settings))
        await asyncio.sleep(rng.random()*0.12)
        t.cancel()
        done,_=await asyncio.wait([t],timeout=4)
        if not done:
            hung+=1
            print(i,[(x.get_name(), x.cancelling()) for x in asyncio.all_tasks() if x.get_name().startswith(("project","beat"))])
            break
    print("HUNG", hung, "of", i+1)
    assert 0
